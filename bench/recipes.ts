/** The images that are measured: what goes into which layer. */

/** What one layer is made of: exactly one of the optional members. */
export interface LayerRecipe {
  /** Name of the layer; layers are made once and shared by all images. */
  readonly name: string;
  /** A bare Debian system by debootstrap. */
  readonly debootstrap?: true;
  /** Debian packages whose files make the layer; `{kernel}` stands for the kernel's release. */
  readonly packages?: readonly string[];
  /** Megabytes of firmware, which hardly compresses. */
  readonly firmware?: number;
  /** Kernel modules: how many, their total size in megabytes, of all sizes or of similar ones. */
  readonly modules?: { readonly count: number; readonly megabytes: number; readonly spread?: true };
  /** A few small configuration files. */
  readonly configuration?: true;
  /** The same content several times over, to make a large layer cheaply. */
  readonly times?: { readonly layer: string; readonly count: number };
}

export interface ImageRecipe {
  readonly name: string;
  readonly mediaTypes: 'oci' | 'docker';
  /** Names of layers, the lowest first. */
  readonly layers: readonly string[];
}

const below: readonly LayerRecipe[] = [
  { name: 'base', debootstrap: true },
  {
    name: 'toolchain',
    packages: [
      'gcc-12',
      'cpp-12',
      'g++-12',
      'libgcc-12-dev',
      'libstdc++-12-dev',
      'binutils-x86-64-linux-gnu',
      'cmake',
      'gdb',
      'make',
    ],
  },
  {
    name: 'headers',
    packages: ['linux-headers-{kernel}-common', 'linux-headers-{kernel}-amd64', 'linux-libc-dev'],
  },
  { name: 'llvm', packages: ['libllvm14', 'libclang-cpp14', 'libclang-common-14-dev'] },
  {
    name: 'languages',
    packages: ['guile-3.0-libs', 'libperl5.36', 'libruby3.1', 'libpython3.11-dev', 'erlang-base'],
  },
  { name: 'firmware', firmware: 189 },
  { name: 'configuration', configuration: true },
];

const large: readonly LayerRecipe[] = below.map(({ name }) => ({
  name: `${name}-5`,
  times: { layer: name, count: 5 },
}));

export const layerRecipes: readonly LayerRecipe[] = [
  ...below,
  ...large,
  { name: 'modules', modules: { count: 40, megabytes: 55.4 } },
  { name: 'small-base', packages: ['libc6', 'bash', 'busybox-static'] },
  { name: 'small-firmware', firmware: 6 },
  { name: 'small-modules', modules: { count: 5, megabytes: 3.8 } },
  { name: 'many-base', packages: ['bash', 'busybox-static'] },
  { name: 'many-modules', modules: { count: 1000, megabytes: 93.6, spread: true } },
];

const names = below.map(({ name }) => name);

/** The images of docs/performance.md. */
export const imageRecipes: readonly ImageRecipe[] = [
  { name: 'small', mediaTypes: 'docker', layers: ['small-base', 'small-firmware', 'small-modules'] },
  { name: 'vendor', mediaTypes: 'oci', layers: [...names, 'modules'] },
  { name: 'deep', mediaTypes: 'oci', layers: [...names.slice(0, 1), 'modules', ...names.slice(1)] },
  { name: 'many', mediaTypes: 'docker', layers: ['many-base', 'many-modules'] },
  { name: 'vendor-large', mediaTypes: 'oci', layers: [...large.map(({ name }) => name), 'modules'] },
];
