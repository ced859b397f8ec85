import type { ByteSource } from '../../shared/byte-source.ts';
import { damagedModule } from '../model/errors.ts';
import { type ElfFile, readElf } from './elf.ts';
import type { ModuleInfo, ModuleKind } from '../model/module.ts';

/** Parameters and aliases of the largest modules take about 100 KiB. */
const maxModinfoBytes = 16 * 1024 * 1024;

/**
 * Reads a kernel module's .modinfo section; returns null if the source is not an ELF file. The source may end
 * with signatures. @throws SignerError DAMAGED_MODULE
 */
export async function readModuleInfo(source: ByteSource): Promise<ModuleInfo | null> {
  const elf = await readElf(source);
  if (elf === null) return null;
  const section = elf.sections.find(({ name }) => name === '.modinfo');
  if (section === undefined) return infoOf(elf, new Map(), elf.isRelocatable ? 'object' : 'other');
  if (section.size > maxModinfoBytes) throw damagedModule('its .modinfo section is too large');
  return infoOf(elf, parseModinfo(await source.read(section.offset, section.size)), 'module');
}

function infoOf(elf: ElfFile, values: ReadonlyMap<string, string>, kind: ModuleKind): ModuleInfo {
  return {
    kind,
    name: values.get('name') ?? null,
    version: values.get('version') ?? null,
    vermagic: values.get('vermagic') ?? null,
    srcversion: values.get('srcversion') ?? null,
    depends: (values.get('depends') ?? '').split(',').filter((name) => name !== ''),
    architecture: architectureOf(elf),
  };
}

/** Splits NUL-terminated `key=value` strings; the first value of a repeated key counts, as in the kernel. */
function parseModinfo(bytes: Buffer): Map<string, string> {
  const values = new Map<string, string>();
  for (const entry of bytes.toString('utf8').split('\0')) {
    const equals = entry.indexOf('=');
    if (equals < 1) continue;
    const key = entry.slice(0, equals);
    if (!values.has(key)) values.set(key, entry.slice(equals + 1));
  }
  return values;
}

/** Machine numbers of the gABI, with the names that `uname -m` reports. */
const machines = new Map<number, string>([
  [2, 'sparc'],
  [3, 'i686'],
  [4, 'm68k'],
  [15, 'parisc'],
  [20, 'ppc'],
  [22, 's390x'],
  [40, 'arm'],
  [42, 'sh4'],
  [43, 'sparc64'],
  [50, 'ia64'],
  [62, 'x86_64'],
  [183, 'aarch64'],
  [36902, 'alpha'],
]);

function architectureOf({ machine, is64Bit, littleEndian }: ElfFile): string {
  switch (machine) {
    case 8:
      return is64Bit ? 'mips64' : 'mips';
    case 21:
      return littleEndian ? 'ppc64le' : 'ppc64';
    case 243:
      return is64Bit ? 'riscv64' : 'riscv32';
    case 258:
      return is64Bit ? 'loongarch64' : 'loongarch32';
    default:
      return machines.get(machine) ?? `machine-${machine}`;
  }
}
