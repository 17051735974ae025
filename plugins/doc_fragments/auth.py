# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How to reach a cluster; the twin of auth_spec in module_utils/_options.py."""

from __future__ import annotations


class ModuleDocFragment:
    """Documentation shared by all verbs."""

    DOCUMENTATION = r"""
options:
  host:
    description:
      - URL of the API server.
      - When this and a full credential (O(api_key), O(username) and O(password), or O(client_cert) and O(client_key)) are known, no kubeconfig is read.
      - The environment variable E(K8S_AUTH_HOST) is used when this is not set.
    type: str
  api_key:
    description:
      - Bearer token.
      - The environment variable E(K8S_AUTH_API_KEY) is used when this is not set.
    type: str
  kubeconfig:
    description:
      - Path of a kubeconfig file, several paths separated as in E(KUBECONFIG), or its content as a dictionary.
      - The environment variables E(K8S_AUTH_KUBECONFIG) and E(KUBECONFIG), and then C(~/.kube/config), are used when this is not set.
    type: raw
  context:
    description:
      - Context of the kubeconfig.
      - The environment variable E(K8S_AUTH_CONTEXT) is used when this is not set.
    type: str
  username:
    description:
      - User name for basic authentication.
      - The environment variable E(K8S_AUTH_USERNAME) is used when this is not set.
    type: str
  password:
    description:
      - Password for basic authentication.
      - The environment variable E(K8S_AUTH_PASSWORD) is used when this is not set.
    type: str
  validate_certs:
    description:
      - Whether to verify the server's certificate. Without it the task warns.
      - The environment variables E(K8S_AUTH_VALIDATE_CERTS) and E(K8S_AUTH_VERIFY_SSL) are used when this is not set, and certificates are
        verified when they are not set either.
    type: bool
    aliases: [verify_ssl]
  ca_cert:
    description:
      - Path of the certificate authority to verify the server with.
      - The environment variables E(K8S_AUTH_CA_CERT) and E(K8S_AUTH_SSL_CA_CERT) are used when this is not set.
    type: path
    aliases: [ssl_ca_cert]
  client_cert:
    description:
      - Path of a client certificate.
      - The environment variables E(K8S_AUTH_CLIENT_CERT) and E(K8S_AUTH_CERT_FILE) are used when this is not set.
    type: path
    aliases: [cert_file]
  client_key:
    description:
      - Path of the client certificate's key.
      - The environment variables E(K8S_AUTH_CLIENT_KEY) and E(K8S_AUTH_KEY_FILE) are used when this is not set.
    type: path
    aliases: [key_file]
  proxy:
    description:
      - URL of an HTTP proxy.
      - The environment variable E(K8S_AUTH_PROXY) is used when this is not set.
    type: str
  no_proxy:
    description:
      - Hosts, domains and networks that are reached without the proxy, separated by commas.
      - The environment variable E(K8S_AUTH_NO_PROXY) is used when this is not set.
    type: str
  proxy_headers:
    description:
      - Headers for the proxy.
    type: dict
    suboptions:
      proxy_basic_auth:
        description:
          - User and password for the proxy, joined by a colon.
          - The environment variable E(K8S_AUTH_PROXY_HEADERS_PROXY_BASIC_AUTH) is used when this is not set.
        type: str
      basic_auth:
        description:
          - User and password for the server, joined by a colon.
          - The environment variable E(K8S_AUTH_PROXY_HEADERS_BASIC_AUTH) is used when this is not set.
        type: str
      user_agent:
        description:
          - The user agent to send.
          - The environment variable E(K8S_AUTH_PROXY_HEADERS_USER_AGENT) is used when this is not set.
        type: str
  persist_config:
    description:
      - Whether a token that was refreshed is written back to the kubeconfig.
      - The environment variable E(K8S_AUTH_PERSIST_CONFIG) is used when this is not set.
    type: bool
  impersonate_user:
    description:
      - User to act as.
      - The environment variable E(K8S_AUTH_IMPERSONATE_USER) is used when this is not set.
    type: str
  impersonate_groups:
    description:
      - Groups to act as a member of. Needs O(impersonate_user).
      - The environment variable E(K8S_AUTH_IMPERSONATE_GROUPS), separated by commas, is used when this is not set.
    type: list
    elements: str
  request_timeout:
    description:
      - Seconds after which a request that got no answer is given up and, where that is safe, sent again.
    type: int
    default: 60
notes:
  - The options and environment variables for the connection are those of C(kubernetes.core). Environment variables are read where the task runs, which is
    the controller for a local connection.
"""
