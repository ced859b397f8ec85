/** The shortest of some pauses in milliseconds; undefined when there is none. */
export function soonest(pauses: readonly (number | undefined)[]): number | undefined {
  const given = pauses.filter((pause) => pause !== undefined);
  return given.length === 0 ? undefined : Math.min(...given);
}
