#!/usr/bin/env node
'use strict';

const { launch } = require('./launch.js');

void launch({ name: 'kmm-operator', bundle: 'operator.js', launcher: __filename });
