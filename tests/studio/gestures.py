"""What a person does with the page, and what they see on it."""

import base64
import re

import numpy as np
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from tests.pictures import decoded

GIVE = """([files, how]) => {
  const transfer = new DataTransfer();
  for (const [name, type, text] of files)
    transfer.items.add(new File([Uint8Array.from(atob(text), (c) => c.charCodeAt(0))], name, { type }));
  const init = { bubbles: true, cancelable: true };
  const event = how === "drop" ? new DragEvent("drop", { ...init, dataTransfer: transfer })
    : new ClipboardEvent("paste", { ...init, clipboardData: transfer });
  document.querySelector("h1, main").dispatchEvent(event);
}"""
PIXELS = """async (image) => {
  await image.decode();
  const [width, height] = [image.naturalWidth, image.naturalHeight];
  const canvas = Object.assign(document.createElement("canvas"), { width, height });
  canvas.getContext("2d").drawImage(image, 0, 0);
  return canvas.toDataURL("image/png");
}"""
COPYING = 1  # what the drag may do: DragOperationsMask of the DevTools protocol


def give(page, *pictures, how="drop", type="image/png"):
    """Drop or paste files, named 1.png and so on."""
    files = [(f"{n}.png", type, base64.b64encode(picture).decode()) for n, picture in enumerate(pictures, start=1)]
    page.evaluate(GIVE, [files, how])


def drop_paths(page, *paths):
    """Drop files or whole folders from the disk on the middle of the page. A script in the page can't drop a folder."""
    data = {"items": [], "files": [str(path) for path in paths], "dragOperationsMask": COPYING}
    middle = {side: page.viewport_size[size] / 2 for side, size in (("x", "width"), ("y", "height"))}
    session = page.context.new_cdp_session(page)
    for kind in ("dragEnter", "dragOver", "drop"):
        session.send("Input.dispatchDragEvent", {"type": kind, **middle, "data": data})
    session.detach()


def pick(page, label, name, content, type="image/png"):
    """Choose a file by the button of this label."""
    page.get_by_label(label).set_input_files({"name": name, "mimeType": type, "buffer": content})


def visit(page, view):
    """Go to a view, by its address."""
    page.goto(f"/#{view}")
    expect(page.locator("nav [aria-current]")).to_have_text(view.split("/")[0].capitalize())
    expect(page.locator("h1")).to_be_attached()


def pixels(image):
    """The pixels of an image on the page, (H, W, 3)."""
    _, _, png = image.evaluate(PIXELS).partition(",")
    return decoded(base64.b64decode(png))


def shown(page, which="after"):
    """The result on the stage, (H, W, 3), once it is there; or the photo, ``before``."""
    images = page.get_by_role("img", name=re.compile(f": {which}$"))
    expect(images).to_be_visible()
    return pixels(images)


def inverted(picture):
    """What the fake worker makes of a picture."""
    return 255 - np.asarray(picture)


def orders(page):
    """The orders that the page sends from now on, as it sends them."""
    sent = []
    page.on("request", lambda asked: sent.append(asked) if asked.method == "POST" else None)
    return sent


def answer_dialogs(page, *, accept):
    """Answer the questions that the page asks, and have the list of them."""
    asked = []

    def answer(dialog):
        asked.append(dialog.message)
        dialog.accept() if accept else dialog.dismiss()

    page.once("dialog", answer)
    return asked


def faults(page):
    """What axe finds wrong with what is on screen, in light and in dark."""
    found = Axe().run(page).response["violations"]
    page.emulate_media(color_scheme="dark")
    found += Axe().run(page, options={"runOnly": ["color-contrast"]}).response["violations"]
    page.emulate_media(color_scheme="light")
    return [(one["id"], [node["html"] for node in one["nodes"]]) for one in found]
