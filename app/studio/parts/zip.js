// A zip file of pictures. They are compressed already, so they are stored as they are.

const TABLE = Uint32Array.from({ length: 256 }, (_, n) => {
  for (let bit = 0; bit < 8; bit++) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1;
  return n;
});

function crc32(bytes) {
  let crc = ~0;
  for (const byte of bytes) crc = TABLE[(crc ^ byte) & 255] ^ (crc >>> 8);
  return ~crc >>> 0;
}

function record(signature, fields) {
  const size = fields.reduce((sum, [bytes]) => sum + bytes, 4);
  const view = new DataView(new ArrayBuffer(size));
  view.setUint32(0, signature, true);
  let at = 4;
  for (const [bytes, value] of fields) {
    if (bytes === 2) view.setUint16(at, value, true);
    else view.setUint32(at, value, true);
    at += bytes;
  }
  return view.buffer;
}

const MOST_BYTES = 2 ** 32 - 1; // what the format's numbers hold without its 64-bit extension
const MOST_FILES = 65_535;
const UTF8 = 0x800;
const VERSION = 20;
const DATE = (46 << 9) | (1 << 5) | 1; // 2026-01-01, for every file

// files: [path, Blob] pairs. Paths must differ.
export async function zipped(files, { signal } = {}) {
  const nbytes = files.reduce((sum, [path, blob]) => sum + blob.size + 2 * path.length * 3 + 76, 22);
  if (nbytes > MOST_BYTES || files.length > MOST_FILES)
    throw new Error(
      `${files.length} files of ${Math.round(nbytes / 2 ** 20)} MB are too many for a zip made here: ` +
        `at most ${MOST_FILES} files and ${MOST_BYTES >>> 20} MB.`,
    );
  const parts = [];
  const directory = [];
  let offset = 0;
  for (const [path, blob] of files) {
    signal?.throwIfAborted();
    const name = new TextEncoder().encode(path);
    const crc = crc32(new Uint8Array(await blob.arrayBuffer()));
    const sizes = [[4, crc], [4, blob.size], [4, blob.size], [2, name.length], [2, 0]];
    const shared = [[2, VERSION], [2, UTF8], [2, 0], [2, 0], [2, DATE], ...sizes];
    const local = record(0x04034b50, shared);
    directory.push(record(0x02014b50, [[2, VERSION], ...shared, [2, 0], [2, 0], [2, 0], [4, 0], [4, offset]]), name);
    parts.push(local, name, blob);
    offset += local.byteLength + name.length + blob.size;
  }
  const length = directory.reduce((sum, part) => sum + part.byteLength, 0);
  const count = files.length;
  const end = record(0x06054b50, [[2, 0], [2, 0], [2, count], [2, count], [4, length], [4, offset], [2, 0]]);
  return new Blob([...parts, ...directory, end], { type: "application/zip" });
}

// The name with a number if it is taken, which it then is.
export function unique(name, taken) {
  const [, stem, ending] = /^(.*?)(\.[^.]*)?$/.exec(name);
  let free = name;
  for (let n = 2; taken.has(free); n++) free = `${stem}-${n}${ending ?? ""}`;
  taken.add(free);
  return free;
}
