import { expect, it } from 'vitest';
import { customResourceDefinitions } from '../../src/api/crd/definitions.ts';

type Schema = {
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly items?: Schema;
  readonly 'x-kubernetes-preserve-unknown-fields'?: boolean;
};

/** Fields of KMM's newest types (September 2026), as text: `a.b{c,d}`. Lists are written as what is in them. */
const build =
  '{buildArgs{name,value},dockerfileConfigMap{name},baseImageRegistryTLS{insecure,insecureSkipTLSVerify},secrets{name},kanikoParams{tag},selector}';
const sign =
  '{unsignedImage,unsignedImageRegistryTLS{insecure,insecureSkipTLSVerify},keySecret{name},certSecret{name},filesToSign}';
const modprobe =
  '{moduleName,parameters,dirName,args{load,unload},rawArgs{load,unload},firmwarePath,modulesLoadingOrder,modprobedDir}';
const shared = `build${build},sign${sign},containerImage,registryTLS{insecure,insecureSkipTLSVerify},inTreeModuleToRemove,inTreeModulesToRemove`;
const container =
  '{command,args,env,image,imagePullPolicy,resources,volumeMounts,startupProbe,livenessProbe}';
const operand = `container${container},initContainer${container},serviceAccountName,volumes,automountServiceAccountToken`;
const counters = '{nodesMatchingSelectorNumber,desiredNumber,availableNumber}';
const entry = 'name,namespace,serviceAccountName,imageRepoSecret{name},tolerations,version';
const config = `config{kernelVersion,containerImage,imagePullPolicy,insecurePull,inTreeModulesToRemove,inTreeModuleToRemove,modprobe${modprobe}}`;

const fields: Readonly<Record<string, string>> = {
  Module: `{spec{moduleLoader{container{${shared},version,imagePullPolicy,kernelMappings{${shared},literal,regexp},modprobe${modprobe}},serviceAccountName},devicePlugin{${operand}},dra{${operand},driverName,deviceClasses{name,selectors,config}},imageRepoSecret{name},selector,tolerations,imageRebuildTriggerGeneration},status{moduleLoader${counters},devicePlugin${counters},dra${counters},imageRebuildTriggerGeneration}}`,
  NodeModulesConfig: `{spec{modules{${entry},${config}}},status{modules{${entry},${config},bootId}}}`,
  BootModuleConfig:
    '{spec{machineConfigName,machineConfigPoolName,kernelModuleImage,kernelModuleName,inTreeModulesToRemove,inTreeModuleToRemove,firmwareFilesPath,workerImage},status{configStatus}}',
  PreflightValidation:
    '{spec{kernelVersion,pushBuiltImage},status{modules{name,namespace,verificationStatus,statusReason,verificationStage,lastTransitionTime}}}',
};

/** The paths that a text names. */
function pathsOf(text: string): string[] {
  const paths: string[] = [];
  const open: string[] = [];
  let name = '';
  const end = (): void => {
    if (name !== '') paths.push([...open, name].join('.'));
    name = '';
  };
  for (const character of text.slice(1, -1)) {
    if (character === '{') {
      open.push(name);
      name = '';
    } else if (character === '}') {
      end();
      open.pop();
    } else if (character === ',') end();
    else name += character;
  }
  end();
  return paths;
}

/** Whether a schema has a field, or keeps whatever is there. */
function has(schema: Schema | undefined, [first, ...rest]: readonly string[]): boolean {
  if (schema === undefined) return false;
  if (first === undefined || schema['x-kubernetes-preserve-unknown-fields'] === true) return true;
  if (schema.items !== undefined) return has(schema.items, [first, ...rest]);
  return has(schema.properties?.[first], rest);
}

it.each(Object.keys(fields))("%s has every field of KMM's", (kind) => {
  const definition = customResourceDefinitions().find(({ spec }) => spec.names.kind === kind);
  const schema: Schema | undefined = definition?.spec.versions.at(-1)?.schema?.openAPIV3Schema;
  const paths = pathsOf(fields[kind] ?? '');
  expect(paths.length).toBeGreaterThan(5);
  expect(paths.filter((path) => !has(schema, path.split('.')))).toEqual([]);
  expect(has(schema, ['spec', 'selectors'])).toBe(false);
});
