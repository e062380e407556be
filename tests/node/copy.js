// Copies a compute image and waits, with the SDK's own waiting; then lists, and asks for what is not
// there. Takes {endpoint, ca, key, folderId, imageId, name} on standard input, and prints what came.
import { errors, waitForOperation } from '@yandex-cloud/nodejs-sdk';
import { desktopImage, desktopImageService as service } from '@yandex-cloud/nodejs-sdk/clouddesktop-v1';

import { openSession, readInput } from './connection.js';

const input = readInput();
const session = await openSession(input);
const images = session.client(service.DesktopImageServiceClient, input.endpoint);

const started = await images.copy(
  service.CopyDesktopImageRequest.fromPartial({
    folderId: input.folderId,
    imageId: input.imageId,
    name: input.name,
    labels: { wire: 'node' },
    description: 'from Node',
  }),
);
const metadata = service.CopyDesktopImageMetadata.decode(started.metadata.value);
const done = await waitForOperation(started, session, 60_000, input.endpoint);
const image = desktopImage.DesktopImage.decode(done.response.value);
const page = await images.list(
  service.ListDesktopImagesRequest.fromPartial({
    folderId: input.folderId,
    filter: `name="${input.name}"`,
    pageSize: 1,
  }),
);
let refusal = {};
try {
  await images.get(service.GetDesktopImageRequest.fromPartial({ imageId: 'e3vnone' }));
} catch (error) {
  refusal = {
    isOfTheSdk: error instanceof errors.ApiError,
    message: error.message,
    requestId: error.requestId,
  };
}
console.log(
  JSON.stringify({
    operationId: done.id,
    metadata: { typeUrl: started.metadata.typeUrl, imageId: metadata.imageId },
    response: { typeUrl: done.response.typeUrl, image: desktopImage.DesktopImage.toJSON(image) },
    listed: page.desktopImages.map((each) => desktopImage.DesktopImage.toJSON(each)),
    refusal,
  }),
);
