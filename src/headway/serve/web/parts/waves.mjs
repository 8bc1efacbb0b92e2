/** Rows of numbers as signals: the share of their power at each frequency, and the rows of transforms. */

/**
 * The share of a row's power at 0, 1, 2, ... periods in the row, in per cent; 0 is its mean.
 * @param {number[]} row
 * @returns {number[]}
 */
export function sharesOf(row) {
  const size = row.length;
  const power = Array.from({ length: Math.floor(size / 2) + 1 }, (_, periods) => {
    let real = 0;
    let imaginary = 0;
    row.forEach((value, at) => {
      const angle = (2 * Math.PI * ((periods * at) % size)) / size;
      real += value * Math.cos(angle);
      imaginary -= value * Math.sin(angle);
    });
    // Each frequency but the first and the middle one stands for two of the whole transform.
    return (real * real + imaginary * imaginary) * (periods === 0 || 2 * periods === size ? 1 : 2);
  });
  const total = power.reduce((sum, one) => sum + one, 0);
  return power.map((one) => (total === 0 ? 0 : (100 * one) / total));
}

/**
 * The mean of rows' shares.
 * @param {number[][]} rows  of one length
 * @returns {number[]}
 */
export function meanShares(rows) {
  const every = rows.map(sharesOf);
  return (every[0] ?? []).map((_, periods) => every.reduce((sum, one) => sum + (one[periods] ?? 0), 0) / every.length);
}

/**
 * How much place `at` of a row counts in place `to` of its transform along the tokens, -1..1: a cosine of the real
 * part of Fourier's, the sum of sine and cosine of Hartley's.
 * @param {string} mixer
 * @param {number} to
 * @param {number} at
 * @param {number} size
 */
export function weightOf(mixer, to, at, size) {
  const angle = (2 * Math.PI * ((to * at) % size)) / size;
  return mixer === "hartley" ? (Math.cos(angle) + Math.sin(angle)) / Math.SQRT2 : Math.cos(angle);
}
