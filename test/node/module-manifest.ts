import { kernelRelease } from '../support/debian-kernel.ts';

/** What is different between Modules. */
export interface ModuleManifestOptions {
  readonly name: string;
  readonly registry: string;
  /** Of the images that are built and signed. */
  readonly repository: string;
  readonly node: string;
}

/**
 * A Module that is built on the node `native` and signed, with its Dockerfile, in the namespace `default`. The
 * headers are those of Debian's newest kernel, whatever the kernel is.
 */
export function moduleManifest({ name, registry, repository, node }: ModuleManifestOptions): string {
  return `apiVersion: v1
kind: ConfigMap
metadata: { name: ${name}-dockerfile, namespace: default }
data:
  dockerfile: |
    ARG DTK_AUTO
    FROM \${DTK_AUTO} as builder
    WORKDIR /src/
    RUN make HEADERS=/usr/src/linux-headers-${kernelRelease}
    FROM ${registry}/kmod:latest
    ARG KERNEL_VERSION
    RUN mkdir -p /opt/lib/modules/\${KERNEL_VERSION}
    COPY --from=builder /src/*.ko /opt/lib/modules/\${KERNEL_VERSION}/
    RUN /bin/depmod -b /opt \${KERNEL_VERSION}
---
apiVersion: kmm.sigs.x-k8s.io/v1beta1
kind: Module
metadata: { name: ${name}, namespace: default }
spec:
  moduleLoader:
    container:
      modprobe: { moduleName: hello }
      registryTLS: { insecure: true }
      kernelMappings:
        - regexp: '^.+$'
          containerImage: '${registry}/${repository}:\${KERNEL_FULL_VERSION}'
          build:
            dockerfileConfigMap: { name: ${name}-dockerfile }
            baseImageRegistryTLS: { insecure: true }
            selector: { kubernetes.io/hostname: native }
          sign:
            unsignedImageRegistryTLS: { insecure: true }
            keySecret: { name: my-signing-key }
            certSecret: { name: my-signing-key-pub }
            filesToSign: ['/opt/lib/modules/\${KERNEL_FULL_VERSION}/hello.ko']
  imageRepoSecret: { name: repo-pull-secret }
  selector: { kubernetes.io/hostname: ${node} }
`;
}

/** A Module whose image exists, and is signed if it says so. */
export function prebuiltManifest(options: {
  readonly name: string;
  readonly registry: string;
  /** Without a tag. */
  readonly image: string;
  /** Labels of the nodes. */
  readonly selector: Readonly<Record<string, string>>;
  /** The image that is signed to get the other one. */
  readonly unsigned?: string;
  /** @default 'hello' */
  readonly moduleName?: string;
}): string {
  const { name, registry, image, selector, unsigned, moduleName = 'hello' } = options;
  const sign = `
          sign:
            unsignedImage: '${registry}/${unsigned}:\${KERNEL_FULL_VERSION}'
            unsignedImageRegistryTLS: { insecure: true }
            keySecret: { name: my-signing-key }
            certSecret: { name: my-signing-key-pub }
            filesToSign: ['/opt/lib/modules/\${KERNEL_FULL_VERSION}/${moduleName}.ko']`;
  return `apiVersion: kmm.sigs.x-k8s.io/v1beta1
kind: Module
metadata: { name: ${name}, namespace: default }
spec:
  moduleLoader:
    container:
      modprobe: { moduleName: ${moduleName} }
      registryTLS: { insecure: true }
      kernelMappings:
        - regexp: '^.+$'
          containerImage: '${registry}/${image}:\${KERNEL_FULL_VERSION}'${unsigned === undefined ? '' : sign}
  imageRepoSecret: { name: repo-pull-secret }
  selector: ${JSON.stringify(selector)}
`;
}
