// The call that the page makes, for programs: the same path and fields as curl, Python and JavaScript.

const base = () => new URL(".", document.baseURI).href.replace(/\/$/, "");

export const LANGUAGES = ["curl", "Python", "JavaScript"];

const quoted = (text) => JSON.stringify(String(text));
const shell = (text) => (/^[\w./:@=-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`);

// Each field as [name, text, whether text is the name of a file].
function pairs(fields) {
  const isFile = (value) => value instanceof Blob;
  return Object.entries(fields)
    .flatMap(([name, value]) => (Array.isArray(value) ? value : [value]).map((one) => [name, one]))
    .filter(([, value]) => value !== "" && value !== undefined && value !== null)
    .map(([name, value]) => [name, isFile(value) ? value.name || "photo.jpg" : String(value), isFile(value)]);
}

// fields: those of the call; a File stands for a file of its name.
export function recipe(language, path, fields, ending = "png") {
  const all = pairs(fields);
  const url = `${base()}/${path}`;
  if (language === "curl") {
    const parts = all.map(([name, value, file]) => shell(`${name}=${file ? "@" : ""}${value}`));
    return `curl -f ${parts.map((part) => `-F ${part}`).join(" ")} \\\n  ${url} -o out.${ending}`;
  }
  if (language === "Python") {
    const files = all.filter(([, , file]) => file).map(([name, value]) => `(${quoted(name)}, open(${quoted(value)}, "rb"))`);
    const data = all.filter(([, , file]) => !file).map(([name, value]) => `${quoted(name)}: ${quoted(value)}`);
    return `import httpx

files = [${files.join(", ")}]
answer = httpx.post("${url}", files=files, data={${data.join(", ")}}, timeout=120)
answer.raise_for_status()
open("out.${ending}", "wb").write(answer.content)`;
  }
  const appended = all.map(([name, value, file]) => (file ? `form.append(${quoted(name)}, file, ${quoted(value)}); // a File, or a Blob` : `form.append(${quoted(name)}, ${quoted(value)});`));
  return `const form = new FormData();
${appended.join("\n")}
const answer = await fetch("${url}", { method: "POST", body: form });
if (!answer.ok) throw new Error((await answer.json()).detail);
const result = await answer.blob();`;
}
