// The camera: asked for on a click only, and let go when it is stopped or the page is hidden.

import { PictureError } from "./picture.js";

const PAUSE_MS = 100; // between two pictures
const REASONS = {
  NotAllowedError: "The camera was not allowed; allow it in the browser, or open a picture.",
  NotFoundError: "There is no camera here; open a picture instead.",
};

/** A camera that gives a picture {data, width, height} to `show` ten times a second while it runs;
 * `changed(runs)` is called when it starts and when it stops. */
export function createCamera(show, changed) {
  const video = document.createElement("video");
  const context = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  let stream = null;
  video.muted = video.playsInline = true;

  function stop() {
    if (!stream) return;
    for (const track of stream.getTracks()) track.stop();
    video.srcObject = stream = null;
    changed(false);
  }

  function look() {
    if (!stream) return;
    const [width, height] = [video.videoWidth, video.videoHeight];
    if (width && height) {
      if (context.canvas.width !== width) context.canvas.width = width;
      if (context.canvas.height !== height) context.canvas.height = height;
      context.drawImage(video, 0, 0);
      show(context.getImageData(0, 0, width, height));
    }
    setTimeout(look, PAUSE_MS);
  }

  /** Throws a PictureError where there is no camera, or it is not allowed. */
  async function start() {
    const wanted = { width: { ideal: 640 }, height: { ideal: 480 }, facingMode: "environment" };
    try {
      stream = await navigator.mediaDevices.getUserMedia({ video: wanted });
      stream.getVideoTracks()[0].addEventListener("ended", stop);
      video.srcObject = stream;
      await video.play();
    } catch (problem) {
      stop();
      throw new PictureError(REASONS[problem.name] ?? "The camera does not answer; open a picture instead.");
    }
    changed(true);
    look();
  }

  document.addEventListener("visibilitychange", () => document.hidden && stop());
  return { start, stop, runs: () => stream !== null };
}
