export function hostOf(address: string): string;
