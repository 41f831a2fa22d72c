// A picture from this device's camera, when a person asks for it.

import { html, useEffect, useRef, useState } from "../vendor/preact-htm.js";
import { snapshot } from "./pictures.js";
import { Trouble } from "./widgets.js";

export function Camera({ onPhoto, onClose }) {
  const video = useRef(null);
  const [error, setError] = useState(null);
  const [ready, setReady] = useState(false); // the first picture is there
  const shoot = () => snapshot(video.current).then(onPhoto, setError);
  useEffect(() => {
    let stream;
    let closed = false;
    const stop = () => stream?.getTracks().forEach((track) => track.stop());
    const begin = async () => {
      try {
        stream = await navigator.mediaDevices.getUserMedia({ video: { width: { ideal: 1280 } } });
        if (closed) stop();
        else video.current.srcObject = stream;
      } catch (refused) {
        setError(new Error(`The camera can't be used: ${refused.message}.`));
      }
    };
    begin();
    return () => {
      closed = true;
      stop();
    };
  }, []);
  return html`
    <div class="stage empty">
      ${error
        ? html`<${Trouble} error=${error} />`
        : html`
          <video
            ref=${video} autoplay playsinline muted onLoadedMetadata=${() => setReady(true)}
            aria-label="What the camera sees"
          ></video>`}
      <div class="row center">
        ${!error &&
        html`<button type="button" class="primary" disabled=${!ready} onClick=${shoot}>Take the picture</button>`}
        <button type="button" onClick=${onClose}>Close</button>
      </div>
    </div>`;
}
