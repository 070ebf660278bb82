// /metrics on a port of its own. However many scrapers ask at once, the text is made once.

import { Router } from 'express';
import { listen, send, type Listener, type ListenerOptions } from './listener.ts';

/** Where the text comes from; implemented by telemetry's Metrics. */
export interface MetricsSource {
  render(): Promise<{ readonly contentType: string; readonly text: string }>;
}

/** Serves /metrics. Throws as `listen` does. */
export async function serveMetrics(
  options: Omit<ListenerOptions, 'name'> & { readonly metrics: MetricsSource },
): Promise<Listener> {
  let rendering: ReturnType<MetricsSource['render']> | undefined;
  const routes = Router();
  routes.get('/metrics', async (request, response) => {
    rendering ??= options.metrics.render().finally(() => {
      rendering = undefined;
    });
    const { contentType, text } = await rendering;
    send(request, response, { status: 200, text, contentType });
  });
  return listen(routes, { ...options, name: 'metrics' });
}
