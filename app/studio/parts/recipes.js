// The call that the page makes, for programs: the same path and fields as curl, Python and JavaScript.

const base = () => new URL(".", document.baseURI).href.replace(/\/$/, "");

const quoted = (text) => JSON.stringify(String(text));
const shell = (text) => (/^[\w./:@=-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`);

// The fields as { name, text, isFile }; text is the name of a file, for one that is a file.
function listed(fields) {
  return Object.entries(fields)
    .flatMap(([name, value]) => (Array.isArray(value) ? value : [value]).map((one) => [name, one]))
    .filter(([, value]) => value !== "" && value !== undefined && value !== null)
    .map(([name, value]) => {
      const isFile = value instanceof Blob;
      return { name, isFile, text: isFile ? value.name || "photo.jpg" : String(value) };
    });
}

function curl(url, fields, ending) {
  const parts = fields.map(({ name, text, isFile }) => `-F ${shell(`${name}=${isFile ? "@" : ""}${text}`)}`);
  return `curl -f ${parts.join(" ")} \\\n  ${url} -o out.${ending}`;
}

function python(url, fields, ending) {
  const files = fields.filter(({ isFile }) => isFile);
  const texts = fields.filter(({ isFile }) => !isFile);
  return `import httpx

files = [${files.map(({ name, text }) => `(${quoted(name)}, open(${quoted(text)}, "rb"))`).join(", ")}]
data = {${texts.map(({ name, text }) => `${quoted(name)}: ${quoted(text)}`).join(", ")}}
answer = httpx.post("${url}", files=files, data=data, timeout=120)
answer.raise_for_status()
open("out.${ending}", "wb").write(answer.content)`;
}

function javaScript(url, fields) {
  const lines = fields.map(({ name, text, isFile }) =>
    isFile
      ? `form.append(${quoted(name)}, file, ${quoted(text)}); // a File or a Blob`
      : `form.append(${quoted(name)}, ${quoted(text)});`,
  );
  return `const form = new FormData();
${lines.join("\n")}
const answer = await fetch("${url}", { method: "POST", body: form });
if (!answer.ok) throw new Error((await answer.json()).detail);
const result = await answer.blob();`;
}

const WRITERS = { curl, Python: python, JavaScript: javaScript };
export const LANGUAGES = Object.keys(WRITERS);

// fields: those of the call; a File stands for a file of its name. ending: of the result's file.
export const recipe = (language, path, fields, ending = "png") =>
  WRITERS[language](`${base()}/${path}`, listed(fields), ending);
