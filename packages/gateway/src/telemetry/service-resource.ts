import {
  defaultResource,
  detectResources,
  envDetector,
  type Resource,
  resourceFromAttributes,
} from '@opentelemetry/resources';

/** What metrics and spans say of their program. The environment (`OTEL_RESOURCE_ATTRIBUTES`) wins. */
export function serviceResource(): Resource {
  return defaultResource()
    .merge(resourceFromAttributes({ 'service.name': 'spillway' }))
    .merge(detectResources({ detectors: [envDetector] }));
}
