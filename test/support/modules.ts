/** Returns a module without a .modinfo section, by renaming it. */
export function withoutModinfo(module: Buffer): Buffer {
  const copy = Buffer.from(module);
  copy.write('.nodinfo', copy.lastIndexOf('.modinfo'), 'latin1');
  return copy;
}

/** Returns the same module as another type of ELF file: an executable. */
export function asExecutable(module: Buffer): Buffer {
  const copy = Buffer.from(module);
  copy.writeUInt16LE(2, 16);
  return copy;
}
