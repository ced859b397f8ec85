#!/usr/bin/env node
'use strict';

const { launch } = require('./launch.js');

void launch({ name: 'kmm-sign', bundle: 'cli.cjs', launcher: __filename });
