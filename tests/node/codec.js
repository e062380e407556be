// Encodes messages with the classes that the SDK has of the public definitions. Takes
// {message type: JSON} on standard input; prints {message type: {hex, json}}, where json is what of
// the message the SDK knows. Types that it does not have are left out.
import * as compute from '@yandex-cloud/nodejs-sdk/compute-v1';
import * as desktops from '@yandex-cloud/nodejs-sdk/clouddesktop-v1';
import * as endpoint from '@yandex-cloud/nodejs-sdk/endpoint';
import * as iam from '@yandex-cloud/nodejs-sdk/iam-v1';
import * as operation from '@yandex-cloud/nodejs-sdk/operation';
import * as quotas from '@yandex-cloud/nodejs-sdk/quotamanager-v1';
import * as manager from '@yandex-cloud/nodejs-sdk/resourcemanager-v1';

import { readInput } from './connection.js';

const codecs = {};
for (const client of [compute, desktops, endpoint, iam, operation, quotas, manager]) {
  for (const file of Object.values(client)) {
    for (const [name, codec] of Object.entries(file)) {
      if (codec?.fromJSON) codecs[`${file.protobufPackage}.${name.replaceAll('_', '.')}`] = codec;
    }
  }
}
const encoded = {};
for (const [type, json] of Object.entries(readInput())) {
  const codec = codecs[type];
  if (codec === undefined) continue;
  const message = codec.fromJSON(json);
  encoded[type] = {
    hex: Buffer.from(codec.encode(message).finish()).toString('hex'),
    json: codec.toJSON(message),
  };
}
console.log(JSON.stringify(encoded));
