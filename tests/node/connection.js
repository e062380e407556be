// What the programs here have in common: their input, and a session with a token of the server's.
import { readFileSync } from 'node:fs';

import { Session } from '@yandex-cloud/nodejs-sdk';
import { iamTokenService } from '@yandex-cloud/nodejs-sdk/iam-v1';
import jwt from 'jsonwebtoken';

export function readInput() {
  return JSON.parse(readFileSync(0, 'utf8'));
}

// The SDK trades keys for tokens at the public cloud's address alone, so the key is traded here,
// with the SDK's own client.
export async function openSession({ endpoint, ca, key }) {
  const ssl = { rootCerts: readFileSync(ca) };
  const nobody = new Session({ iamToken: 'none', ssl });
  const tokens = nobody.client(iamTokenService.IamTokenServiceClient, endpoint);
  const { id, service_account_id: account, private_key: pem } = JSON.parse(readFileSync(key, 'utf8'));
  const signed = jwt.sign({}, pem.slice(pem.indexOf('-----BEGIN')), {
    algorithm: 'PS256',
    keyid: id,
    issuer: account,
    audience: `https://iam.${endpoint}/iam/v1/tokens`,
    expiresIn: 600,
  });
  const request = iamTokenService.CreateIamTokenRequest.fromPartial({ jwt: signed });
  const { iamToken } = await tokens.create(request);
  return new Session({ iamToken, ssl, pollInterval: 100 });
}
