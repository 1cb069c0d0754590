/** Dice, as the only way to them. */
export interface Random {
  /** Uniform in [0, 1). */
  next(): number;
  /** A new identity of 16 letters and digits, unique among all processes for practical purposes (80 bits or more). */
  id(): string;
}
