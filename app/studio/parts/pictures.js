// Pictures in the browser: check them, shrink them before they travel, convert and save them.

export const FORMATS = { png: "image/png", jpg: "image/jpeg", webp: "image/webp" };
const DEFAULT_SIDE = 512; // px; what the server reduces the short side to if no size is asked for
const WORTH_SHRINKING = 1.25; // times larger than needed
const QUALITY = 0.95;
const ENDINGS = /\.(jpe?g|png|webp|gif|bmp|tiff?|avif|hei[cf])$/i;

export const isPicture = (file) => file.type.startsWith("image/") || ENDINGS.test(file.name);

export const isClip = (file) => file.type.startsWith("video/") || /\.(mp4|mov|webm)$/i.test(file.name);

export const baseName = (name) => (name || "picture").replace(/\.[^.]+$/, "");

// Why a file can't be sent, in a sentence; empty if it can.
export function refusal(file, maxMb = Infinity) {
  const name = file.name || "This file";
  if (!isPicture(file)) return `${name} is not a picture. Drop a JPEG, PNG, WebP, GIF, BMP, TIFF or AVIF file.`;
  if (/hei[cf]/i.test(file.type + file.name))
    return "HEIC pictures can't be read. On the iPhone: Settings, Camera, Formats, Most Compatible; or send a JPEG.";
  if (file.size > maxMb * 2 ** 20)
    return `${name} has ${Math.ceil(file.size / 2 ** 20)} MB; this server accepts pictures of up to ${maxMb} MB.`;
  if (file.size === 0) return `${name} is empty.`;
  return "";
}

// { usable, refused }: the files that can be sent, and a sentence for all others.
export function sorted(files, maxMb) {
  const refused = files.map((file) => refusal(file, maxMb)).filter(Boolean);
  return { usable: files.filter((file) => !refusal(file, maxMb)), refused: refused.join(" ") };
}

// The picture as it needs to be sent: no larger than the size asked for. `native` and `source` are sent as they are.
export async function prepared(file, resolution) {
  if (resolution === "native" || resolution === "source") return file;
  const side = Number(resolution) || DEFAULT_SIDE;
  const bitmap = await createImageBitmap(file).catch(() => null);
  if (!bitmap) return file; // the server may know the format
  try {
    const scale = side / Math.min(bitmap.width, bitmap.height);
    if (scale * WORTH_SHRINKING > 1) return file;
    const canvas = drawn(bitmap, Math.round(bitmap.width * scale), Math.round(bitmap.height * scale));
    return new File([await encoded(canvas, FORMATS.jpg)], `${baseName(file.name)}.jpg`, { type: FORMATS.jpg });
  } finally {
    bitmap.close();
  }
}

function drawn(source, width, height) {
  const canvas = Object.assign(document.createElement("canvas"), { width, height });
  const context = canvas.getContext("2d");
  context.fillStyle = "#fff"; // under transparent parts, as the server does it
  context.fillRect(0, 0, width, height);
  context.imageSmoothingQuality = "high";
  context.drawImage(source, 0, 0, width, height);
  return canvas;
}

const encoded = (canvas, type) => new Promise((resolve) => canvas.toBlob(resolve, type, QUALITY));

export async function converted(blob, type) {
  if (blob.type === type) return blob;
  const bitmap = await createImageBitmap(blob);
  return encoded(drawn(bitmap, bitmap.width, bitmap.height), type);
}

export async function sizeOf(blob) {
  const bitmap = await createImageBitmap(blob);
  const { width, height } = bitmap;
  bitmap.close();
  return { width, height };
}

export function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

// The address of a blob, the same for each call, until it is released.
const addresses = new WeakMap();
export function address(blob) {
  if (!addresses.has(blob)) addresses.set(blob, URL.createObjectURL(blob));
  return addresses.get(blob);
}

// Free what the browser holds for the addresses of blobs that are shown no more.
export function release(...blobs) {
  for (const blob of blobs) {
    if (addresses.has(blob)) URL.revokeObjectURL(addresses.get(blob));
    addresses.delete(blob);
  }
}

// One picture from the camera, of a video element that shows it.
export async function snapshot(video) {
  if (!video.videoWidth) throw new Error("The camera shows nothing yet. Wait a moment.");
  const canvas = drawn(video, video.videoWidth, video.videoHeight);
  return new File([await encoded(canvas, FORMATS.jpg)], "camera.jpg", { type: FORMATS.jpg });
}
