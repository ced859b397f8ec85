import { describe, expect, it } from 'vitest';
import { secrets } from '../../../../src/controller/observe/cluster/resources.ts';
import { forbidden } from '../../../../src/controller/observe/references/reference.ts';
import { ApiError } from '../../../../src/controller/runtime/api/errors.ts';

const key = { namespace: 'drivers', name: 'signing' };
const role = 'kmm-operator-references';

describe('the error for an object that the operator may not read', () => {
  it.each([
    [
      'a ServiceAccount',
      'secrets "signing" is forbidden: User "system:serviceaccount:kmm-operator-system:kmm-operator" cannot get resource',
      '--serviceaccount=kmm-operator-system:kmm-operator',
    ],
    [
      'a user',
      'secrets "signing" is forbidden: User "alice@example.com" cannot get',
      '--user=alice@example.com',
    ],
    ['nobody by name', 'forbidden', '--serviceaccount=NAMESPACE:NAME'],
  ])('shows the binding that helps where the API server refuses %s', (_title, message, subject) => {
    const error = forbidden(secrets, key, new ApiError({ code: 'FORBIDDEN', message }));
    expect(error).toMatchObject({
      code: 'REFERENCE_FORBIDDEN',
      message: 'The operator may not read the Secret drivers/signing',
      hint: `Allow it: kubectl create rolebinding ${role} -n drivers --clusterrole=${role} ${subject}`,
      facts: { kind: 'Secret', ...key },
    });
  });
});
