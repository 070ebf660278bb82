// Why a tag lost. At scale a reason is a small number; the sentence for people is made on demand.

/**
 * Every reason a tag can be passed over for, stable words for programs. The first group needs only the list of tags, the
 * second needs facts from the registry.
 */
export const REJECTION_CODES = [
  'NotMatched',
  'Excluded',
  'Artifact',
  'InvalidTag',
  'ExtractedEmpty',
  'NotSemver',
  'OutOfRange',
  'Prerelease',
  'OtherVariant',
  'NotNumeric',
  'NotFixedTag',
  'CreationTimeUnknown',
  'CreationTimeUnusable',
  'NotNewer',
  'Superseded',
  'DuplicateOf',

  'NotExamined',
  'Pending',
  'TagGone',
  'CompanionMissing',
  'NotAnImage',
  'PlatformMissing',
  'TooYoung',
  'SeenFull',
] as const;
export type RejectionCode = (typeof REJECTION_CODES)[number];

/** A rejection as a value that costs no memory per tag: there is one per code. */
export class Refusal {
  readonly code: RejectionCode;
  /** Position in REJECTION_CODES plus one, so that 0 is free for "not rejected". */
  readonly number: number;

  constructor(code: RejectionCode) {
    this.code = code;
    this.number = REJECTION_CODES.indexOf(code) + 1;
  }
}

const REFUSALS = new Map(REJECTION_CODES.map((code) => [code, new Refusal(code)]));

export function refusal(code: RejectionCode): Refusal {
  return REFUSALS.get(code) as Refusal;
}

/** The code behind a `Refusal.number`; undefined for 0. */
export function codeOfNumber(number: number): RejectionCode | undefined {
  return REJECTION_CODES[number - 1];
}
