// What adviseImage wants to be told: manifest and configuration of one platform, and what others found out about it.
// @see https://github.com/opencontainers/image-spec/blob/main/annotations.md

import type { Platform } from '../image/platform.ts';

export interface ImageToAdvise {
  /** The image as the workload writes it. */
  readonly reference: string;
  readonly manifest: {
    readonly layers: readonly { readonly digest: string; readonly sizeBytes?: number | undefined }[];
    readonly annotations?: Readonly<Record<string, string>> | undefined;
  };
  readonly config: {
    /** `config.User`. Absent or empty: the image sets none, which means root. */
    readonly user?: string | undefined;
    /** `config.Labels`. */
    readonly labels?: Readonly<Record<string, string>> | undefined;
    /** Absent: the image does not say. */
    readonly createdMs?: number | undefined;
    readonly platform?: Platform | undefined;
  };
  readonly nowMs: number;
  /** When the base image was built. Absent: not known. */
  readonly baseCreatedMs?: number | undefined;
  /** A base older than this is due. Default 90. */
  readonly maxBaseAgeDays?: number | undefined;
  /** Whether nobody fixes the system in the image any more. Absent: not known, then the name of the base is looked up. */
  readonly endOfLife?: boolean | undefined;
  /** Whether an SBOM is attached. Absent: not known. */
  readonly hasSbom?: boolean | undefined;
  /** Whether a provenance attestation is attached. Absent: not known. */
  readonly hasProvenance?: boolean | undefined;
  /** Whether a signature is attached, whoever made it. Absent: not known. */
  readonly hasSignature?: boolean | undefined;
}

/** The annotation of the manifest or else the label of the configuration. Absent when both are missing or empty. */
export function annotationOf({ manifest, config }: ImageToAdvise, name: string): string | undefined {
  return manifest.annotations?.[name]?.trim() || config.labels?.[name]?.trim() || undefined;
}
