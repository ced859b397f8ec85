// Writes a ClusterServiceVersion from the objects of an overlay.
import { accountsOf, permissionsOf } from './permissions.js';

/** Where the Operator Lifecycle Manager mounts the certificates that it makes for webhooks. */
const certificateDirectory = '/tmp/k8s-webhook-server/serving-certs';
const repository = 'https://github.com/kmm-sign/kmm-sign';
const provider = { name: 'kmm-sign', url: repository };

/** Returns the ClusterServiceVersion. */
export function serviceVersion({ objects, base, name, version, images, icon, now }) {
  const rename = (old) => base.deployments[old] ?? old;
  const accounts = accountsOf(objects, rename);
  const deployments = objects.filter(({ kind }) => kind === 'Deployment');
  return {
    apiVersion: 'operators.coreos.com/v1alpha1',
    kind: 'ClusterServiceVersion',
    metadata: {
      name: `${name}.v${version}`,
      namespace: 'placeholder',
      annotations: annotationsOf({ base, images, now }),
      labels: Object.fromEntries(
        ['amd64', 'arm64'].map((one) => [`operatorframework.io/arch.${one}`, 'supported']),
      ),
    },
    spec: {
      displayName: base.displayName,
      description: base.description,
      version,
      minKubeVersion: '1.25.0',
      maturity: 'beta',
      provider,
      maintainers: [{ name: 'The kmm-sign project', email: 'maintainers@kmm-sign.example' }],
      links: [{ name: 'Documentation', url: `${repository}/tree/main/docs` }],
      keywords: base.keywords,
      icon: [{ base64data: Buffer.from(icon).toString('base64'), mediatype: 'image/svg+xml' }],
      installModes: ['OwnNamespace', 'SingleNamespace', 'MultiNamespace', 'AllNamespaces'].map((type) => ({
        type,
        supported: type === (base.installMode ?? 'AllNamespaces'),
      })),
      customresourcedefinitions: { owned: ownedBy(objects, base) },
      install: {
        strategy: 'deployment',
        spec: {
          deployments: deployments.map((one) =>
            deployment(one, { rename, images, variables: base.imageVariables ?? imageVariables }),
          ),
          ...permissionsOf(objects, accounts, base.namespace),
        },
      },
      webhookdefinitions: webhooksOf(objects),
      relatedImages: Object.entries(images).map(([role, image]) => ({ name: role, image })),
    },
  };
}

function annotationsOf({ base, images, now }) {
  return {
    'alm-examples': JSON.stringify(base.examples, null, 2),
    capabilities: 'Seamless Upgrades',
    categories: base.categories.join(', '),
    containerImage: images.operator,
    createdAt: now,
    description: base.short,
    repository,
    ...(base.internal.length === 0
      ? {}
      : { 'operators.operatorframework.io/internal-objects': JSON.stringify(base.internal) }),
    support: provider.name,
    'operatorframework.io/suggested-namespace': base.namespace,
    'features.operators.openshift.io/disconnected': 'true',
    'features.operators.openshift.io/proxy-aware': 'true',
    'features.operators.openshift.io/fips-compliant': 'false',
    'features.operators.openshift.io/tls-profiles': 'false',
    'features.operators.openshift.io/token-auth-aws': 'false',
    'features.operators.openshift.io/token-auth-azure': 'false',
    'features.operators.openshift.io/token-auth-gcp': 'false',
  };
}

function ownedBy(objects, { descriptions }) {
  return objects
    .filter(({ kind }) => kind === 'CustomResourceDefinition')
    .map(({ metadata, spec }) => {
      const { kind } = spec.names;
      const { name: version } = spec.versions.find(({ storage }) => storage);
      const [displayName, description] = descriptions[kind] ?? [];
      if (description === undefined) throw new Error(`there is no description of ${kind}`);
      return { name: metadata.name, version, kind, displayName, description };
    });
}

/** The variables with images, by the role of the image; a package may have others. */
export const imageVariables = {
  RELATED_IMAGE_SIGN: 'operator',
  RELATED_IMAGES_MUST_GATHER: 'operator',
  RELATED_IMAGE_BUILD: 'builder',
  RELATED_IMAGE_LOADER: 'loader',
};

function deployment({ metadata, spec }, { rename, images, variables }) {
  const { serviceAccountName, containers, ...pod } = spec.template.spec;
  const isWebhook = metadata.labels['app.kubernetes.io/component'] === 'webhook';
  const change = ({ env, ...container }) => ({
    ...container,
    image: images.operator,
    env: isWebhook
      ? [...env, { name: 'WEBHOOK_CERTIFICATE_DIRECTORY', value: certificateDirectory }]
      : [...env.filter(({ name }) => variables[name] === undefined), ...imageSettings(images, variables)],
  });
  const changed = {
    ...pod,
    serviceAccountName: rename(serviceAccountName),
    containers: containers.map(change),
  };
  return {
    name: rename(metadata.name),
    label: metadata.labels,
    spec: { ...spec, template: { ...spec.template, spec: changed } },
  };
}

function imageSettings(images, variables) {
  return Object.entries(variables).flatMap(([name, role]) =>
    images[role] === undefined ? [] : [{ name, value: images[role] }],
  );
}

/** What a webhook of a ClusterServiceVersion says by other fields, or not at all. */
const ownFields = ['name', 'clientConfig', 'namespaceSelector'];

function webhooksOf(objects) {
  const configurations = objects.filter(({ kind }) => kind === 'ValidatingWebhookConfiguration');
  const service = objects.find(({ metadata }) => metadata.name.endsWith('-webhook-service'));
  const deploymentName = service?.metadata.name.replace(/-service$/, '');
  return configurations.flatMap(({ webhooks }) =>
    webhooks.map((webhook) => ({
      type: 'ValidatingAdmissionWebhook',
      generateName: webhook.name,
      deploymentName,
      containerPort: 443,
      targetPort: 'webhook',
      webhookPath: webhook.clientConfig.service.path,
      ...Object.fromEntries(Object.entries(webhook).filter(([key]) => !ownFields.includes(key))),
    })),
  );
}
