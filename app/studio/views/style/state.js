// What Style shows, and the calls that its form stands for.

import { isStargan, needsExample } from "../../parts/catalog.js";
import { isClip } from "../../parts/pictures.js";
import { server } from "../../state.js";
import { createStore } from "../../store.js";

// The most pictures of each kind that a call takes.
export const MOST = {
  example: { styles: 4 },
  grid: { sources: 8, styles: 8 },
  video: { sources: 4, styles: 8 },
};
const MOST_SEED = 2 ** 32;
export const drawnSeed = () => Math.floor(Math.random() * MOST_SEED);

// mode: "example", "stargan" or null. source: a photo, or a clip to paint. styles: [{ file, weight }].
// Of a StarGAN: seed: null while a picture gives the style, which is picked (one of the styles' files). others, seeds:
// further photos and styles of a grid or a video.
// result: { picture, source, job, seconds, width, height } or { film, job, seconds }.
export const store = createStore({
  mode: null, source: null, styles: [], strength: 1, stroke: 1, preserve_color: false,
  model: "", domain: "", seed: 1, picked: null, locked: false, psi: 1, align: "auto",
  others: [], seeds: Array.from({ length: 3 }, drawnSeed),
  stage: null, error: null, result: null, variations: [],
});

const ready = () => (server.get().models ?? []).filter((model) => model.runs_as);
export const stargans = () => ready().filter(isStargan);
export const hasExample = () => ready().some(needsExample);
export const chosenStargan = ({ model }) => stargans().find((one) => one.name === model) ?? stargans()[0];

// The call that the form stands for: [path, fields, ending]; null while something is missing.
export function callOf(state) {
  if (!state.source) return null;
  if (state.mode === "example") return exampleCall(state);
  return state.mode === "stargan" && !isClip(state.source) ? starganCall(state) : null;
}

function exampleCall({ source, styles, strength, stroke, preserve_color }) {
  if (!styles.length) return null;
  const weights = styles.length > 1 ? JSON.stringify(styles.map((style) => style.weight)) : "";
  const look = { style: files(styles), weights, strength, stroke, preserve_color: String(preserve_color) };
  if (isClip(source)) return ["style/video", { video: source, ...look }, "mp4"];
  return ["style", { image: source, ...look }, "png"];
}

function starganCall(state) {
  const { source, styles, seed, psi } = state;
  const shared = { image: source, ...choices(state) };
  if (seed !== null) return ["stargan/latent", { ...shared, seed: String(seed), psi: String(psi) }, "png"];
  const reference = files(styles).find((file) => file === state.picked) ?? files(styles).at(-1);
  return reference ? ["stargan/reference", { ...shared, reference }, "png"] : null;
}

// kind: "grid" or "video". Of the photo and the others, in the style that is set and further ones.
export function severalCall(kind, state) {
  const { source, others, styles, seed, seeds, psi } = state;
  if (!source || isClip(source)) return null;
  const sources = [source, ...others].slice(0, MOST[kind].sources);
  const references = files(styles).slice(0, MOST[kind].styles);
  if (seed === null && references.length < (kind === "video" ? 2 : 1)) return null;
  const look = seed === null ? { references } : { seeds: JSON.stringify([seed, ...seeds]), psi: String(psi) };
  return [`stargan/${kind}`, { sources, ...choices(state), ...look }, kind === "video" ? "mp4" : "png"];
}

const files = (styles) => styles.map((style) => style.file);
const choices = (state) => ({ model: chosenStargan(state)?.name, domain: state.domain, align: state.align });
