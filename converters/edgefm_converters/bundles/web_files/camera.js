// Pictures of a camera, a few a second, as long as it is on.

import { pixelsOf } from './decode.js';

const REASONS = {
  NotAllowedError: 'The browser was not allowed to use the camera. Allow it in its settings for this page.',
  NotFoundError: 'No camera was found.',
  NotReadableError: 'The camera is in use by another program.',
};
const PAUSE_MS = 80;

const stopTracks = (stream) => stream.getTracks().forEach((track) => track.stop());

export class Camera {
  #video;
  #stream = null;
  #facing = 'environment';
  #asked = null; // what the last start asked for; another one, or a stop, while the browser asks a person, ends it
  #onPicture;

  constructor(video, onPicture) {
    this.#video = video;
    this.#onPicture = onPicture;
  }

  get on() {
    return this.#stream !== null;
  }

  // Throws an error whose message is for a person.
  async start() {
    if (!navigator.mediaDevices?.getUserMedia) {
      throw new Error('This browser gives no camera to a page that is opened as a file. A page on https may use it.');
    }
    this.stop();
    const asked = { video: { facingMode: this.#facing, width: { ideal: 640 } }, audio: false };
    this.#asked = asked;
    let stream;
    try {
      stream = await navigator.mediaDevices.getUserMedia(asked);
    } catch (error) {
      throw new Error(REASONS[error?.name] ?? `The camera did not start: ${error?.message ?? error}.`);
    }
    if (this.#asked !== asked) {
      stopTracks(stream);
      return;
    }
    this.#stream = stream;
    this.#video.srcObject = stream;
    await this.#video.play();
    this.#watch(stream);
  }

  async turn() {
    this.#facing = this.#facing === 'user' ? 'environment' : 'user';
    await this.start();
  }

  stop() {
    this.#asked = null;
    if (this.#stream) stopTracks(this.#stream);
    this.#stream = null;
    this.#video.srcObject = null;
  }

  async #watch(stream) {
    while (this.#stream === stream) {
      const { videoWidth: width, videoHeight: height } = this.#video;
      if (width && height && !document.hidden) {
        await this.#onPicture({ width, height, rgba: pixelsOf(this.#video, width, height) });
      }
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    }
  }
}
