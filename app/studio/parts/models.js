// What the list of models means for a person who chooses one.

// Those that can run now: without a small twin that stands in for a larger one in the list.
export function choices(models) {
  const standsIn = (name) => models.some((other) => other.name !== name && other.runs_as === name);
  return models.filter((model) => model.runs_as && !standsIn(model.name));
}

// The model that really runs.
export const runner = (model, models) => models.find((other) => other.name === model.runs_as) ?? model;

export function badge(model) {
  if (model.availability === "ready") return "";
  return model.runs_as ? "small twin" : model.availability;
}
