/** Icons. Each decorates a text beside it, so screen readers skip it. */

export function Logo() {
  return (
    <svg class="logo" viewBox="0 0 32 32" aria-hidden="true">
      <path class="logo-line" d="M7 25 25 7" />
      <circle class="logo-out" cx="10" cy="10.5" r="3.6" />
      <path class="logo-in" d="M15.5 22.5h8m0 0-3.2-3.2m3.2 3.2-3.2 3.2" />
    </svg>
  );
}

export function Tick() {
  return (
    <svg class="sign good" viewBox="0 0 16 16" aria-hidden="true">
      <path d="m3 8.5 3.4 3.5L13 4.5" />
    </svg>
  );
}

export function Cross() {
  return (
    <svg class="sign bad" viewBox="0 0 16 16" aria-hidden="true">
      <path d="m4 4 8 8m0-8-8 8" />
    </svg>
  );
}

export function Enlarge({ large }: { large: boolean }) {
  return (
    <svg class="sign" viewBox="0 0 16 16" aria-hidden="true">
      <path d={large ? "M6.5 2v4.5H2M9.5 14V9.5H14" : "M9.5 2H14v4.5M6.5 14H2V9.5"} />
    </svg>
  );
}
