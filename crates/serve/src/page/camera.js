// Pictures from the camera. It is used only after a click, and stops when it is closed.

import { byId, notice } from "./dom.js";

export class Camera {
  #stream = null;
  #taken = 0;

  /** `use(file)` receives each picture. */
  constructor(use) {
    byId("camera-open").addEventListener("click", () => this.#open());
    byId("camera-take").addEventListener("click", () => this.#take(use));
    byId("camera-close").addEventListener("click", () => {
      this.close();
      byId("camera-open").focus();
    });
  }

  close() {
    for (const track of this.#stream?.getTracks() ?? []) track.stop();
    this.#stream = null;
    byId("video").srcObject = null;
    byId("camera").hidden = true;
    byId("camera-open").disabled = false;
  }

  async #open() {
    const devices = navigator.mediaDevices;
    if (!devices) {
      notice("Browsers give pages the camera only over https, or on localhost.");
      return;
    }
    byId("camera-open").disabled = true;
    try {
      this.#stream = await devices.getUserMedia({ video: { facingMode: "environment" } });
      const video = byId("video");
      video.srcObject = this.#stream;
      byId("camera").hidden = false;
      await video.play();
      notice();
      byId("camera-take").focus();
    } catch (error) {
      this.close();
      notice(reason(error));
    }
  }

  async #take(use) {
    const video = byId("video");
    const canvas = document.createElement("canvas");
    canvas.width = video.videoWidth;
    canvas.height = video.videoHeight;
    canvas.getContext("2d").drawImage(video, 0, 0);
    const blob = await new Promise((done) => canvas.toBlob(done, "image/jpeg", 0.95));
    if (!blob) return;
    this.#taken += 1;
    use(new File([blob], `camera-${this.#taken}.jpg`, { type: blob.type }));
  }
}

function reason(error) {
  switch (error.name) {
    case "NotAllowedError":
      return "The browser does not allow this page to use the camera.";
    case "NotFoundError":
      return "No camera was found.";
    default:
      return `The camera cannot be used: ${error.message || error.name}.`;
  }
}
