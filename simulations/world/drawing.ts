/**
 * What a diagram shows, told by the models while things happen, and only when somebody wants to see it. It decides
 * nothing: a run is the same with and without.
 */
export type Drawn =
  /** It arrived at the moment of telling; `lost`: it left then and never arrives. */
  | {
      readonly kind: "message";
      readonly from: string;
      readonly to: string;
      readonly sentMs: number;
      readonly label: string;
      readonly lost?: boolean;
    }
  | { readonly kind: "process"; readonly node: string; readonly state: "starts" | "crashes" | "freezes" | "thaws" }
  /** What a node believes, from now on. */
  | { readonly kind: "lease"; readonly node: string; readonly partition: number; readonly token: string | undefined }
  | { readonly kind: "commit"; readonly node: string; readonly actor: string; readonly text: string };

export type DrawnAt = Drawn & { readonly atMs: number };
