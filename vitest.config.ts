import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: { include: ['{compiler,passes,backends,runtime,test,bench,examples}/**/*.test.ts'], testTimeout: 120_000, pool: 'forks', maxWorkers: 2 },
});
