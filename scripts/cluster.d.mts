export function hostOf(address: string): string;
export const CA_FILE: string;
export function ensureCertificates(hosts: readonly string[]): void;
export function leaveTls(): void;
export function usesTls(): boolean;
export function holdersOfCertificates(): string[];
export function reloadCertificates(earlierHolders: readonly string[]): void;
