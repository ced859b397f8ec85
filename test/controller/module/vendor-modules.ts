/**
 * Modules as operators of vendors of GPUs generate them: their fields, with other names. A Go client writes fields
 * that are not set as null, as empty texts or as empty objects.
 */

/** Built in the cluster, in a version, with an order of loading and without a device plugin. */
export function builtByVendorOperator(registry: string, selector: string): object {
  return {
    moduleLoader: {
      container: {
        build: null,
        sign: null,
        imagePullPolicy: 'Always',
        inTreeModulesToRemove: null,
        registryTLS: { insecure: true },
        modprobe: {
          moduleName: 'hello',
          dirName: '/opt',
          firmwarePath: '/firmwareDir/updates',
          args: { load: ['-v'], unload: ['-rv'] },
          modulesLoadingOrder: ['hello', 'hello-ttm', 'hello-kcl'],
          parameters: ['ip_block_mask=0xff'],
        },
        kernelMappings: [
          {
            build: {
              baseImageRegistryTLS: {},
              buildArgs: [
                { name: 'DRIVERS_VERSION', value: '6.2.2' },
                { name: 'REPO_URL', value: 'https://repo.example' },
              ],
              dockerfileConfigMap: { name: 'build' },
              secrets: null,
            },
            containerImage: `${registry}/${selector}:coreos-9.4-\${KERNEL_FULL_VERSION}-6.2.2`,
            inTreeModulesToRemove: ['hello', 'hello_drm'],
            literal: '',
            regexp: '^.+$',
            registryTLS: null,
            sign: null,
          },
        ],
      },
      serviceAccountName: 'gpu-operator-kmm-module-loader',
    },
    imageRepoSecret: null,
    selector: { for: selector },
    tolerations: [{ key: 'gpu-driver-upgrade', operator: 'Equal', value: 'true', effect: 'NoSchedule' }],
  };
}

/** A ready image with firmware, and a device plugin with an init container and directories of the node. */
export function readyMadeByVendorOperator(registry: string, selector: string) {
  return {
    devicePlugin: {
      container: {
        args: ['-v', '4', '-shared-dev-num', '1'],
        env: [{ name: 'NODE_NAME', valueFrom: { fieldRef: { fieldPath: 'spec.nodeName' } } }],
        image: `${registry}/device-plugin:0.29.0`,
        imagePullPolicy: 'Always',
        resources: {},
        volumeMounts: [
          { mountPath: '/dev/dri', name: 'devfs', readOnly: true },
          { mountPath: '/sys/class/drm', name: 'sysfs', readOnly: true },
        ],
      },
      initContainer: { image: `${registry}/device-plugin-init:0.29.0`, resources: {}, volumeMounts: null },
      serviceAccountName: 'gpu-device-plugin',
      volumes: [
        { hostPath: { path: '/dev/dri', type: '' }, name: 'devfs' },
        { hostPath: { path: '/sys/class/drm', type: 'Directory' }, name: 'sysfs' },
      ],
    },
    moduleLoader: {
      container: {
        imagePullPolicy: 'Always',
        kernelMappings: [
          {
            build: null,
            containerImage: `${registry}/${selector}:2.2.0-\${KERNEL_FULL_VERSION}`,
            literal: '',
            regexp: String.raw`^.*amd64$`,
            registryTLS: { insecure: true, insecureSkipTLSVerify: false },
            sign: null,
          },
        ],
        modprobe: { firmwarePath: '/firmware', moduleName: 'hello', dirName: '/opt' },
        registryTLS: {},
      },
      serviceAccountName: 'default',
    },
    selector: { for: selector },
  };
}
