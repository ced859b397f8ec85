import { expect, it } from 'vitest';
import { EventBudget } from '../../../src/controller/runtime/event-budget.ts';

const minute = 60_000;

it('lets a burst of 25 pass, then one in five minutes', () => {
  const budget = new EventBudget();
  const passed = (times: number, now: number): number =>
    Array.from({ length: times }, () => budget.spend('a', now)).filter(Boolean).length;
  expect(passed(30, 0)).toBe(25);
  expect(passed(30, 4 * minute)).toBe(0);
  expect(passed(30, 5 * minute)).toBe(1);
  expect(passed(30, 15 * minute)).toBe(2);
  expect(passed(30, 24 * 60 * minute)).toBe(25);
});

it('is each object’s own', () => {
  const budget = new EventBudget();
  for (let times = 0; times < 30; times += 1) budget.spend('a Normal', 0);
  expect(budget.spend('a Normal', 0)).toBe(false);
  expect(budget.spend('a Warning', 0)).toBe(true);
});
