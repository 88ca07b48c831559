/**
 * Kubernetes sets variables in every container for each service of its namespace: for one with the name
 * `spillway`, `SPILLWAY_SERVICE_HOST` and `SPILLWAY_PORT=tcp://10.0.0.1:8080` among others. They are no
 * settings, although some have a setting's name.
 */

const linkNames =
  /_SERVICE_(?:HOST|PORT(?:_[A-Z0-9_]+)?)$|_PORT_\d+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?$/;

/** Whether Kubernetes has set a variable to the address of a service. */
export function isServiceLink(variable: string, value: string): boolean {
  return linkNames.test(variable) || (variable.endsWith('_PORT') && /^(?:tcp|udp|sctp):\/\//.test(value));
}
