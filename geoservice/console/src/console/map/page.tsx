/** Geofences by kind with their stores. */
import { api, ok } from "../../lib/api";
import { useLoad } from "../../lib/load";
import { Failure, PageHead, Skeleton, Table } from "../../lib/ui/parts";
import type { PageProps } from "../pages";

interface Fence {
  properties: { id: string; name: string; kind: string; store_id?: string };
}

export default function MapPage(_: PageProps) {
  const fences = useLoad(() => ok(api.GET("/v1/geofences")), []);
  return (
    <div class="page">
      <PageHead title="Map">Geofences and their stores.</PageHead>
      {fences.error !== undefined && <Failure error={fences.error} retry={fences.reload} />}
      {fences.loading && !fences.data && <Skeleton lines={6} />}
      {fences.data && (
        <Table caption="Geofences">
          <thead>
            <tr>
              <th>Name</th>
              <th>Kind</th>
              <th>Store</th>
            </tr>
          </thead>
          <tbody>
            {(fences.data.features as unknown as Fence[]).map(({ properties }) => (
              <tr key={properties.id}>
                <td>{properties.name}</td>
                <td>{properties.kind}</td>
                <td>{properties.store_id}</td>
              </tr>
            ))}
          </tbody>
        </Table>
      )}
    </div>
  );
}
