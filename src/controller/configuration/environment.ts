import type { ProxySettings } from '../../builder/job-inputs.ts';
import { configurationError } from './errors.ts';

/** Environment variables by name. */
export type Environment = Readonly<Record<string, string | undefined>>;

/** The settings from the operator's environment. */
export interface OperatorEnvironment {
  readonly namespace: string;
  readonly managed: boolean;
  readonly signImage: string | undefined;
  readonly kanikoImage: string | undefined;
  readonly loaderImage: string | undefined;
  /** The variable of OpenShift's operator for NFD. */
  readonly nfdImage: string | undefined;
  /** Where the webhook's certificate is, unless the file says so. */
  readonly certificateDirectory: string | undefined;
  readonly proxy: ProxySettings;
}

/** The values that Go's strconv.ParseBool accepts. */
const booleans: Readonly<Record<string, boolean>> = {
  ...Object.fromEntries(['1', 't', 'T', 'TRUE', 'true', 'True'].map((text) => [text, true])),
  ...Object.fromEntries(['0', 'f', 'F', 'FALSE', 'false', 'False'].map((text) => [text, false])),
};

/** Reads KMM's environment variables. @throws ConfigurationError that names the invalid ones */
export function readEnvironment(environment: Environment): OperatorEnvironment {
  const valueOf = (...names: readonly string[]): string | undefined =>
    names.map((name) => environment[name]).find((value) => value !== undefined && value !== '');
  const namespace = valueOf('OPERATOR_NAMESPACE');
  const managed = booleans[valueOf('KMM_MANAGED') ?? 'false'];
  if (namespace === undefined || managed === undefined) {
    throw configurationError("The operator's environment", [
      ...(namespace === undefined ? ['OPERATOR_NAMESPACE: not set'] : []),
      ...(managed === undefined
        ? [`KMM_MANAGED: expected true or false, not ${JSON.stringify(valueOf('KMM_MANAGED'))}`]
        : []),
    ]);
  }
  const httpProxy = valueOf('HTTP_PROXY', 'http_proxy');
  const httpsProxy = valueOf('HTTPS_PROXY', 'https_proxy');
  const noProxy = valueOf('NO_PROXY', 'no_proxy');
  return {
    namespace,
    managed,
    signImage: valueOf('RELATED_IMAGE_SIGN', 'RELATED_IMAGES_SIGN'),
    kanikoImage: valueOf('RELATED_IMAGE_BUILD', 'RELATED_IMAGES_BUILD'),
    loaderImage: valueOf('RELATED_IMAGE_LOADER'),
    nfdImage: valueOf('RELATED_IMAGE_NODE_FEATURE_DISCOVERY', 'NODE_FEATURE_DISCOVERY_IMAGE'),
    certificateDirectory: valueOf('WEBHOOK_CERTIFICATE_DIRECTORY'),
    proxy: {
      ...(httpProxy === undefined ? {} : { httpProxy }),
      ...(httpsProxy === undefined ? {} : { httpsProxy }),
      ...(noProxy === undefined ? {} : { noProxy }),
    },
  };
}
