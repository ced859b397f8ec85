// A file-based catalog: what a CatalogSource serves of a bundle.

/** Returns the documents of a catalog with one bundle of a package. */
export function catalogOf({ name, base, version, channel, bundleImage, csv, icon }) {
  const { owned } = csv.spec.customresourcedefinitions;
  return [
    {
      schema: 'olm.package',
      name,
      defaultChannel: channel,
      description: base.short,
      icon: { base64data: Buffer.from(icon).toString('base64'), mediatype: 'image/svg+xml' },
    },
    { schema: 'olm.channel', package: name, name: channel, entries: [{ name: csv.metadata.name }] },
    {
      schema: 'olm.bundle',
      package: name,
      name: csv.metadata.name,
      image: bundleImage,
      properties: [
        { type: 'olm.package', value: { packageName: name, version } },
        ...owned.map(({ name: definition, version: of, kind }) => ({
          type: 'olm.gvk',
          value: { group: definition.slice(definition.indexOf('.') + 1), version: of, kind },
        })),
        { type: 'olm.csv.metadata', value: metadataOf(csv) },
      ],
      relatedImages: [{ name: 'bundle', image: bundleImage }, ...csv.spec.relatedImages],
    },
  ];
}

/** What consoles show before a bundle is installed. */
function metadataOf({ metadata, spec }) {
  const { customresourcedefinitions, description, displayName, installModes } = spec;
  const { keywords, links, maintainers, maturity, minKubeVersion, provider } = spec;
  return {
    annotations: metadata.annotations,
    labels: metadata.labels,
    customResourceDefinitions: customresourcedefinitions,
    description,
    displayName,
    installModes,
    keywords,
    links,
    maintainers,
    maturity,
    minKubeVersion,
    provider,
  };
}
