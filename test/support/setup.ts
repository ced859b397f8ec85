// A setup file: its hook runs before those of the tests themselves.
import { beforeEach } from 'vitest';
import { beginTry } from './second-tries.ts';

beforeEach(({ task }) => beginTry(task));
