// Videos play muted, in a loop, and in step: all follow the time of the first.

import { make } from "../widgets/shared.js";

const CHECK_MS = 500;
const OUT_OF_STEP_S = 0.08;

export function makeVideo() {
  const video = make("video", {
    loop: true,
    playsinline: true,
    preload: "auto",
    "aria-label": "Video",
    tabindex: "-1",
  });
  video.muted = true;
  return video;
}

/** Return whether the loaded content of an image is a video. */
export const isVideo = (got) => Boolean(got?.url && got.kind?.startsWith("video/"));

export class Videos {
  constructor() {
    this.shown = [];
    this.checking = setInterval(() => this.keepInStep(), CHECK_MS);
  }

  /** Play these videos. If the system requests reduced motion, stop them and show the browser's controls. */
  play(videos, isStill) {
    this.shown = videos;
    for (const video of videos) {
      video.controls = isStill;
      if (isStill) video.pause();
      else if (video.paused) video.play().catch(() => {}); // a browser may not allow videos to start automatically
    }
  }

  keepInStep() {
    const [first, ...others] = this.shown.filter((video) => video.duration && !video.paused);
    for (const video of others) {
      const wanted = first.currentTime % video.duration;
      if (Math.abs(video.currentTime - wanted) > OUT_OF_STEP_S) video.currentTime = wanted;
    }
  }

  close() {
    clearInterval(this.checking);
  }
}
