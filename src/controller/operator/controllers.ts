import type { ControllerFactory } from './context.ts';

/** The parts of the operator. */
export const controllerFactories: readonly ControllerFactory[] = [];
