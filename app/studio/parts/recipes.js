// The call that the page makes, for programs: the same fields as curl, Python and JavaScript.

const base = () => new URL(".", document.baseURI).href.replace(/\/$/, "");

export const LANGUAGES = ["curl", "Python", "JavaScript"];

export function recipe(language, fields, name = "photo.jpg") {
  const given = Object.entries(fields).filter(([, value]) => value !== "" && value !== undefined);
  const quoted = (text) => JSON.stringify(String(text));
  const shell = (text) => (/^[\w./:@=-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`);
  if (language === "curl") {
    const parts = [`image=@${name}`, ...given.map(([field, value]) => `${field}=${value}`)];
    return `curl -f ${parts.map((part) => `-F ${shell(part)}`).join(" ")} \\\n  ${base()}/translate -o out.png`;
  }
  if (language === "Python") {
    const data = given.map(([field, value]) => `${quoted(field)}: ${quoted(value)}`).join(", ");
    return `import httpx

with open(${quoted(name)}, "rb") as photo:
    answer = httpx.post("${base()}/translate", files={"image": photo}, data={${data}}, timeout=120)
answer.raise_for_status()
open("out.png", "wb").write(answer.content)`;
  }
  return `const form = new FormData();
form.append("image", photo); // a File, or a Blob
${given.map(([field, value]) => `form.append(${quoted(field)}, ${quoted(value)});`).join("\n")}
const answer = await fetch("${base()}/translate", { method: "POST", body: form });
if (!answer.ok) throw new Error((await answer.json()).detail);
const picture = await answer.blob();`;
}
