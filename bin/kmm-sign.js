#!/usr/bin/env node
import { launch } from './launch.js';

await launch({ name: 'kmm-sign', bundle: 'cli.cjs', launcher: import.meta.url });
