/** A module without its .modinfo section: the kernel finds none of that name. */
export function withoutModinfo(module: Buffer): Buffer {
  const copy = Buffer.from(module);
  copy.write('.nodinfo', copy.lastIndexOf('.modinfo'), 'latin1');
  return copy;
}

/** The same module as an ELF file of another kind: an executable one. */
export function asExecutable(module: Buffer): Buffer {
  const copy = Buffer.from(module);
  copy.writeUInt16LE(2, 16);
  return copy;
}
