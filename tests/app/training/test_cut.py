"""A CUT over HTTP: forecast, trained, published and served."""

from tests.app.training.client import picture, start, wait
from tests.pictures import encoded, landscape
from tests.training import cut


def test_a_cut_is_forecast_trained_published_and_served(service):
    options = cut(recipe="FastCUT", direction="BtoA", epochs=0.5, epochs_decay=0, augmentations=["cutout"])
    forecast = service.post("/training/cut?dry_run=true", json=options).json()
    assert (forecast["total_steps"], forecast["options"]["lambda_nce"]) == (3, 10)
    run = start(service, "cut", options)
    told = wait(service, run)
    assert told["options"]["augmentations"] == ["cutout"]
    assert (told["family"], told["step"], told["options"]["flip_equivariance"]) == ("cut", 3, True)
    assert told["parameters"] == forecast["parameters"]
    refused = service.post(f"{run}/publish", json={"name": "cut", "direction": "AtoB"})
    assert (refused.status_code, "has one generator" in refused.json()["detail"]) == (422, True)
    assert service.post(f"{run}/publish", json={"name": "cut"}).status_code == 201
    card = service.get("/models/cut").json()
    assert (card["family"], card["network"]["antialias"]) == ("cyclegan", True)
    answer = service.post("/translate", files={"image": encoded(landscape(32, 48))}, data={"model": "cut"})
    assert picture(answer).size == (32, 48)
