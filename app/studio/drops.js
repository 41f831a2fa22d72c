// Files that are dropped or pasted anywhere on the page.

const hasFiles = (event) => [...event.dataTransfer.types].some((type) => type === "Files" || type === "text/uri-list");

// onFiles(files, entries, target): entries are what was dropped as the browser's file system has it, folders and all.
export function watchDrops(onFiles) {
  let depth = 0;
  const mark = (dragging) => document.body.classList.toggle("dragging", dragging);
  addEventListener("dragenter", (event) => hasFiles(event) && mark(++depth > 0));
  addEventListener("dragleave", (event) => hasFiles(event) && mark(--depth > 0));
  addEventListener("dragover", (event) => hasFiles(event) && event.preventDefault());
  addEventListener("drop", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault(); // never open the file in place of the page
    mark(false);
    depth = 0;
    const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
    onFiles([...event.dataTransfer.files], entries, event.target);
  });
  addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files ?? [])];
    if (!files.length) return;
    event.preventDefault();
    onFiles(files, [], event.target);
  });
}
