/** Problems with data files: tensors that cannot be read, or that do not fit the model's inputs (SPC61xx). */
import { SpcError } from '../diagnostics/diagnostic.js';

export const dataError = (code: string, message: string, hint?: string): SpcError =>
  new SpcError([{ code, severity: 'error', message, ...(hint === undefined ? {} : { hint }) }]);
