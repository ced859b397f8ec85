#!/usr/bin/env node
import { launch } from './launch.js';

await launch({ name: 'kmm-operator', bundle: 'operator.js', launcher: import.meta.url });
