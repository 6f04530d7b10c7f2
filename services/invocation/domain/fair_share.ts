/**
 * Shares `total` among queues that have room for so many each, as evenly as can be: none gets more than its room, and a
 * queue goes short only where it would take from one that has less. `first` says which queue gets the odd one.
 */
export function shareFairly(room: readonly number[], total: number, first: number): number[] {
  const shares = room.map(() => 0);
  let left = total;
  let open = room.map((_, index) => (index + first) % room.length).filter((index) => (room[index] ?? 0) > 0);
  while (left > 0 && open.length > 0) {
    const each = Math.max(1, Math.floor(left / open.length));
    for (const index of open) {
      const share = Math.min(each, (room[index] ?? 0) - (shares[index] ?? 0), left);
      shares[index] = (shares[index] ?? 0) + share;
      left -= share;
    }
    open = open.filter((index) => (shares[index] ?? 0) < (room[index] ?? 0));
  }
  return shares;
}
