export function generateReference() {
  return [];
}
