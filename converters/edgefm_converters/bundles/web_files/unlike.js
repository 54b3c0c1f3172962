// Whether a picture is unlike the data that the models learnt, by thresholds of unlike.json: see
// edgefm_converters.bundles.unlike for the measures and where they come from.

// Returns how far pixels, uint8 [height, width, channels], red first, lie from the data.
export function distanceOf(pixels, unlike) {
  const centred = blockMeans(pixels, unlike).map((value, place) => value - unlike.mean[place]);
  let explained = 0;
  let squared = 0;
  unlike.components.forEach((component, k) => {
    const along = unlike.scales[k] * component.reduce((sum, level, place) => sum + level * centred[place], 0);
    explained += along * along;
    squared += (along * along) / unlike.variances[k];
  });
  const whole = centred.reduce((sum, value) => sum + value * value, 0);
  return Math.sqrt(squared + Math.max(whole - explained, 0) / unlike.rest);
}

// Returns the means of squares of pixels in each channel; what lies beyond the picture is 0.
function blockMeans(pixels, { shape: [height, width, channels], block }) {
  const columns = Math.ceil(width / block);
  const means = new Float64Array(Math.ceil(height / block) * columns * channels);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const to = (Math.floor(y / block) * columns + Math.floor(x / block)) * channels;
      for (let c = 0; c < channels; c++) means[to + c] += pixels[(y * width + x) * channels + c];
    }
  }
  return means.map((sum) => sum / (block * block));
}

// Returns the entropy of scores, made to sum to 1, in bits.
export function entropyOf(scores) {
  const real = scores.map((score) => Math.max(score, 0));
  const sum = real.reduce((total, score) => total + score, 0);
  return real.reduce((bits, score) => {
    const share = sum > 0 ? score / sum : 1 / real.length;
    return share > 0 ? bits - share * Math.log2(share) : bits;
  }, 0);
}

// answers: [{ name, sha256, ranked }]. Returns sentences that warn, [] where the picture is like the data.
export function warnings(pixels, answers, unlike) {
  if (!unlike) return [];
  const share = `${Number((100 * unlike.quantile).toPrecision(4))} %`;
  const known = `${share} of ${unlike.validation.toLocaleString('en')} validation pictures`;
  const found = [];
  const far = distanceOf(pixels, unlike);
  if (far > unlike.distance) {
    found.push(`Its distance from the data is ${far.toFixed(1)}; ${known} lie within ${unlike.distance.toFixed(1)}.`);
  }
  for (const { name, sha256, ranked } of answers) {
    const bits = entropyOf(ranked.map(({ score }) => score));
    const most = unlike.entropies[sha256];
    if (!(bits > most)) continue;
    found.push(`${name} is unsure: entropy ${bits.toFixed(2)} bits; of ${known} it has at most ${most.toFixed(2)}.`);
  }
  return found;
}
